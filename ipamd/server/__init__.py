"""The doors: gRPC for the plugin, introspection and metrics over HTTP. They are given callables, never the runtime."""
