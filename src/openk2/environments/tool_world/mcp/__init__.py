"""Real tools: servers of the Model Context Protocol, installed by hash and run in a jail.

`session.McpSession` runs one server for one episode and is the third executor of a ToolSpec;
`install` brings the catalogue's servers; `commands` is `k2 mcp`. Only `session`, `wire` and
`results` need the package mcp.
"""
