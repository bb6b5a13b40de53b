"""Builders of the Grafana dashboards that `driftline export grafana` ships; `python -m dashboards` writes the JSON.

They run where Driftline is developed. What they write is committed and needs nothing but Grafana.
"""
