"""The moto door through boto3 over HTTP: what EC2 does and stock moto does not, and instance metadata."""
