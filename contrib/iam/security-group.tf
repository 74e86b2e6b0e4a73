# SSH to private instances from the corporate network, which Direct Connect or a VPN joins to the VPC, and from nowhere
# else. Nothing here makes a way to the internet.

variable "vpc_id" {
  type = string
}

variable "corporate_networks" {
  description = "Private ranges that people's machines have when they reach the VPC."
  type        = set(string)
  default     = ["10.0.0.0/8"]
}

resource "aws_security_group" "ssh_from_corporate" {
  name        = "ssh-from-corporate"
  description = "SSH from the corporate network"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  for_each          = var.corporate_networks
  security_group_id = aws_security_group.ssh_from_corporate.id
  description       = "SSH from ${each.value}"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
}
