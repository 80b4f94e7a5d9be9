"""The labels that every container, network, volume and image of ours carries.

From these alone a lost database is rebuilt and an orphan is told from a stranger's object, so a
name here never changes its meaning. The policy drops labels with our prefix from a compose file.
"""

from __future__ import annotations

PREFIX = "butai."
INSTANCE = "butai.instance"  # which agent owns it: several may share one engine
PROJECT = "butai.project"
BRANCH = "butai.branch"
SLUG = "butai.slug"
SERVICE = "butai.service"
REVISION = "butai.revision"  # the revision that the image or container was made from
CONFIG = "butai.config"  # hash of what forces a new container; never of the revision
SALT = "butai.salt"  # how often its environment was redeployed when it was made
DEPLOYMENT = "butai.deployment"
WORKTREE = "butai.worktree"  # which of the folders that the worktree had it mounts; "" where nobody knew
ROLE = "butai.role"  # "edge" for Traefik and its network, "helper" for the ownership helper
