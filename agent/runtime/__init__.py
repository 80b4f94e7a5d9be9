"""The work of the daemon: look, plan, act, look again."""
