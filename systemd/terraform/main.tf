# One host for Butai: an instance with its role, a security group, an Elastic IP, and a hosted zone of its own.

data "aws_subnet" "this" {
  id = var.subnet_id
}

data "aws_ssm_parameter" "image" {
  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
}

# A zone of its own bounds the worst mistake: nothing here can change the parent domain.
resource "aws_route53_zone" "this" {
  name = var.domain

  # The agent and Traefik write records here that Terraform does not know, and AWS removes no zone with records in it.
  # Nobody else has records in this zone; never write this to one that you share.
  force_destroy = true
}

resource "aws_route53_record" "delegation" {
  count   = var.parent_zone_id == "" ? 0 : 1
  zone_id = var.parent_zone_id
  name    = var.domain
  type    = "NS"
  ttl     = 300
  records = aws_route53_zone.this.name_servers
}

resource "aws_iam_role" "this" {
  name_prefix = "butai-"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

# The one file that the documents show, too.
resource "aws_iam_role_policy" "this" {
  name = "butai"
  role = aws_iam_role.this.id

  policy = replace(
    replace(file("${path.module}/../iam-policy.json"), "Z0123456789ABCDEFGHIJ", aws_route53_zone.this.zone_id),
    "staging.example.com", lower(var.domain),
  )
}

# Roles of projects, which must trust this one: docs/how-to/aws-roles.md.
resource "aws_iam_role_policy" "project_roles" {
  count = length(var.project_role_arns) == 0 ? 0 : 1
  name  = "project-roles"
  role  = aws_iam_role.this.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["sts:AssumeRole", "sts:TagSession"]
      Resource = var.project_role_arns
    }]
  })
}

resource "aws_iam_instance_profile" "this" {
  name_prefix = "butai-"
  role        = aws_iam_role.this.name
}

resource "aws_security_group" "this" {
  name_prefix = "butai-"
  description = "Butai: web for visitors, SSH for operators, nothing else"
  vpc_id      = data.aws_subnet.this.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "web" {
  for_each          = { for pair in setproduct(["80", "443"], var.visitors) : join("-", pair) => pair }
  security_group_id = aws_security_group.this.id
  ip_protocol       = "tcp"
  from_port         = tonumber(each.value[0])
  to_port           = tonumber(each.value[0])
  cidr_ipv4         = each.value[1]
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  for_each          = toset(var.operators)
  security_group_id = aws_security_group.this.id
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
  cidr_ipv4         = each.value
}

resource "aws_vpc_security_group_egress_rule" "all" {
  security_group_id = aws_security_group.this.id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_instance" "this" {
  ami                    = data.aws_ssm_parameter.image.value
  instance_type          = var.instance_type
  subnet_id              = var.subnet_id
  vpc_security_group_ids = [aws_security_group.this.id]
  iam_instance_profile   = aws_iam_instance_profile.this.name

  # Else there is no network before the Elastic IP is attached, and cloud-init would fail.
  associate_public_ip_address = true

  key_name  = var.key_name == "" ? null : var.key_name
  user_data = var.user_data_file == "" ? null : file(var.user_data_file)

  # Images of Amazon Linux 2023 come with a hop limit of 2, which lets containers use the role.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = var.disk_gb
    encrypted   = true
  }

  tags = {
    Name = "butai"
  }

  lifecycle {
    # A newer image is no reason to lose the host.
    ignore_changes = [ami, user_data]
  }
}

resource "aws_eip" "this" {
  domain   = "vpc"
  instance = aws_instance.this.id
}
