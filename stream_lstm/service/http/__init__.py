"""HTTP: the live page, its read-only API, metrics and health checks.

Handlers read the pipeline's state and copy what they show; they never change a stream's memory. A CPU budget
bounds the cost of all requests together.
"""

from stream_lstm.service.http.context import HttpContext
from stream_lstm.service.http.routes import WebRoutes

__all__ = ["HttpContext", "WebRoutes"]
