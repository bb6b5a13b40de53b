"""What other tools read: Prometheus, Grafana, remote write, CI."""
