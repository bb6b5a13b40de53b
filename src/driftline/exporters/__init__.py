"""Export for other tools: Prometheus, Grafana, remote write, CI."""
