"""aws-cni: the process that a container runtime starts for each pod; its start-up is its whole cost."""
