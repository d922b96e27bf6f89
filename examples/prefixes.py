"""Two prefixes for the ENI $ENI, then more than it carries: any SDK program, here with boto3, at `ipamd ec2 serve`."""

import os

import boto3

ec2, eni = boto3.client("ec2"), os.environ["ENI"]
given = ec2.assign_private_ip_addresses(NetworkInterfaceId=eni, Ipv4PrefixCount=2)
print(*(prefix["Ipv4Prefix"] for prefix in given["AssignedIpv4Prefixes"]))
try:
    ec2.assign_private_ip_addresses(NetworkInterfaceId=eni, Ipv4PrefixCount=8)
except ec2.exceptions.ClientError as error:
    print(error.response["Error"]["Code"])
