"""`ipamd run --host`: who programs the node's network, and whether the embedded cloud's ENIs are real links.

--host recorder                     nobody; requests are written down, no privileges needed (the default)
--host netlink                      iproute2, iptables and nftables, in the network namespace of the process
--host netlink --vpc-netns NAME     and each ENI of the embedded cloud is a veth to that namespace, which routes
"""

from __future__ import annotations

import argparse
import os
import re
from typing import NamedTuple

from ipamd.config import Config
from ipamd.ec2.embedded import EmbeddedCloud
from ipamd.ec2.port import Ec2
from ipamd.runtime.enilinks import EniLinks, LinkedCloud
from ipamd.runtime.hostkernel import KernelHost, unable
from ipamd.runtime.hostnet import Host, HostError, HostRecorder
from ipamd.runtime.hostplan import HostOptions
from ipamd.runtime.hosttools import Tools

from .clouds import StartError, WrongOption

HOSTS = ("recorder", "netlink")
_NETNS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Hosted(NamedTuple):
    """The host, and the cloud as the daemon shall call it."""

    host: Host
    cloud: Ec2


def add_options(made: argparse.ArgumentParser) -> None:
    """--host and --vpc-netns."""
    made.add_argument(
        "--host", choices=HOSTS, default="recorder", help="who programs links, routes and rules (%(default)s)"
    )
    made.add_argument(
        "--vpc-netns", metavar="NAME", help="with --host netlink: the embedded cloud's ENIs are veths to this namespace"
    )


def check_options(args: argparse.Namespace) -> None:
    """Options that do not belong together. Raises WrongOption."""
    if args.vpc_netns is None:
        return
    if args.host != "netlink":
        raise WrongOption("--vpc-netns: links are made by --host netlink alone; add it")
    if args.ec2 != "embedded":
        raise WrongOption("--vpc-netns: only the embedded cloud's ENIs want links; leave it out")
    if not _NETNS.fullmatch(args.vpc_netns):
        raise WrongOption(f"--vpc-netns {args.vpc_netns[:64]!a}: want a name as `ip netns` takes it, for example vpc")


def host_options(config: Config) -> HostOptions:
    """ENV-37..46 and DISABLE_TCP_EARLY_DEMUX."""
    options = config.options
    external, excluded = config.snat(os.environ)
    return HostOptions(
        mtu=options.eni_mtu,
        veth_prefix=options.veth_prefix,
        mark=options.connmark,
        node_port=options.node_port_support,
        external_snat=external,
        exclude_snat_cidrs=excluded,
        randomize_snat=options.randomize_snat,
        external_service_cidrs=options.external_service_cidrs,
        strict_pod_eni=options.pod_eni and options.pod_security_group_mode == "strict",
        ipv6=options.ipv6,
        v6_egress=options.v6_egress,
        early_demux=os.environ.get("DISABLE_TCP_EARLY_DEMUX") != "true",
    )


async def open_host(args: argparse.Namespace, config: Config, cloud: Ec2) -> Hosted:
    """The host that the command line names. Raises StartError."""
    if args.host == "recorder":
        return Hosted(HostRecorder(), cloud)
    reason = unable(config.options.ipv6)
    if reason:
        raise StartError(f"--host netlink: {reason}")
    options = host_options(config)
    host = KernelHost(options)
    if args.vpc_netns is None:
        return Hosted(host, cloud)
    assert isinstance(cloud, EmbeddedCloud), "check_options let no other door pass"
    links = EniLinks(cloud.vpc, Tools(args.vpc_netns), mtu=options.mtu)
    try:
        await links.open()
    except HostError as error:
        raise StartError(f"--vpc-netns: {error}") from None
    return Hosted(host, LinkedCloud(cloud, links))
