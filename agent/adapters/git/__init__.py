"""Git: one bare mirror per project, one worktree per environment, and nothing from outside ever becomes an option.

The remote is spoken to by `git` itself, with a deadline and a process group; objects are read with GitPython.
"""

from agent.adapters.git.mirrors import GitMirrors

__all__ = ["GitMirrors"]
