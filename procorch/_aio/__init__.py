"""The parts of `aio`. Workers load `coroutines` alone."""
