"""`python -m cni_plugin` is `aws-cni`."""

from cni_plugin.main import main

main()
