"""Makes a fleet in moto and prints it as JSON: a list of groups, each a list of [id, private address]."""

import json
import sys

import boto3

ec2 = boto3.client("ec2", endpoint_url=sys.argv[1], region_name="eu-west-1")
images = ec2.describe_images()["Images"]
image = next(image["ImageId"] for image in images if image.get("Platform") != "windows")


def run(count, **tags):
    tags = [{"Key": key, "Value": value} for key, value in tags.items()]
    made = ec2.run_instances(
        ImageId=image,
        MinCount=count,
        MaxCount=count,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )["Instances"]
    return [[instance["InstanceId"], instance["PrivateIpAddress"]] for instance in made]


web = run(1, Name="web", Environment="prod", Role="web")
# More than a page of our requests.
many = run(1005, Environment="prod", Role="batch")
staging = run(3, Name="staging", Environment="staging", Role="web")
firewall = run(1, Name="edge-fw", Environment="prod", Role="web")
stopped = run(1, Name="stopped", Environment="prod", Role="db-main")
gone = run(1, Name="gone", Environment="prod", Role="web")
ec2.stop_instances(InstanceIds=[stopped[0][0]])
ec2.terminate_instances(InstanceIds=[gone[0][0]])
print(json.dumps({"web": web, "many": many, "staging": staging, "firewall": firewall, "stopped": stopped, "gone": gone}))
