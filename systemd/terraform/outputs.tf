output "address" {
  description = "Where the records lead; the agent makes them (section [dns])."
  value       = aws_eip.this.public_ip
}

output "zone_id" {
  description = "For dns.zone in the settings."
  value       = aws_route53_zone.this.zone_id
}

output "name_servers" {
  description = "For the NS record in the parent zone, where it is not made here."
  value       = aws_route53_zone.this.name_servers
}

output "role_arn" {
  description = "The instance's role, which roles of projects must trust (docs/how-to/aws-roles.md)."
  value       = aws_iam_role.this.arn
}
