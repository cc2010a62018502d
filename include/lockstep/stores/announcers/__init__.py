"""Who is told of rehearsals, one a file."""

from lockstep.stores.announcers.github import CommitStatus, DeploymentStatus
from lockstep.stores.announcers.sending import Endpoint
from lockstep.stores.announcers.webhook import Webhook

__all__ = ["CommitStatus", "DeploymentStatus", "Endpoint", "Webhook"]
