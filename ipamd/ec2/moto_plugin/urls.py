"""Where moto's server finds the handler of EC2's requests: the hosts are moto's, the handler ours."""

from moto.ec2.urls import url_bases

from .responses import EC2Response

__all__ = ["url_bases", "url_paths"]

url_paths = {"{0}/": EC2Response.dispatch}
