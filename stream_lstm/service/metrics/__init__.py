"""Prometheus metrics: counters that the pipeline updates, and their export at each scrape."""
