"""The engine for others: an HTTP server that speaks OpenAI's API, a chat page, a terminal chat."""
