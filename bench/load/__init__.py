"""The load generator: clients of a WebSocket server, thousands in a process, that notice what is lost."""
