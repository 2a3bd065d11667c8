"""Backtest: recorded streams through the service's engine, compared with simpler forecasts."""
