"""The moto door: EC2's HTTP API from moto, its networking actions answered by the VPC model of `ipamd.ec2`.

    boto3, aws-cli, any SDK --HTTP--> moto's server --> responses (ours for ENIs, subnets, instances, tags)
                                                            |-- asks: parameters -> requests
                                                            |-- door: lock, throttle, latency --> the model
                                                            '-- tells: answers -> members of EC2's output
    moto's objects that stand for the same things (views) read the model when moto looks at them

Nothing of moto is patched: `server` puts `models.EC2Backend` where moto's backend table takes its class from, and
`urls` leads to `responses.EC2Response`. moto wants the module names `models` and `urls`. None of these classes is
a documented interface of moto, so pyproject.toml allows one minor version.
"""
