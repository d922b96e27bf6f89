"""`make demo`: the whole walk with real processes.

It knows the command line, the plugin and HTTP, and of what is within the kubelet's model alone.
"""
