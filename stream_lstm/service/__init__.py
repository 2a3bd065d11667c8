"""The room that waits: asyncio, the broker, HTTP, signals and logs around a pure core and a plain store."""
