variable "domain" {
  description = "Environments are reached at <slug>.<domain>, for example staging.example.com."
  type        = string
}

variable "parent_zone_id" {
  description = "Hosted zone of the parent domain, to which the new zone is delegated; empty: delegate it yourself."
  type        = string
  default     = ""
}

variable "subnet_id" {
  description = "Public subnet of the instance."
  type        = string
}

variable "instance_type" {
  description = "Four processors and 16 GB are a beginning."
  type        = string
  default     = "m7i.xlarge"
}

variable "disk_gb" {
  description = "Size of the disk; images, volumes and the build cache are the largest part."
  type        = number
  default     = 100
}

variable "visitors" {
  description = "IPv4 networks from which people may see environments. Slack and GitHub must reach 443, too."
  type        = list(string)
  default     = ["0.0.0.0/0"]
}

variable "operators" {
  description = "IPv4 networks from which SSH is open."
  type        = list(string)
  default     = []
}

variable "key_name" {
  description = "Name of the key pair for SSH; empty: none."
  type        = string
  default     = ""
}

variable "user_data_file" {
  description = "Your copy of systemd/cloud-init.yaml with domain, zone and projects filled in; empty: install by hand."
  type        = string
  default     = ""
}

variable "project_role_arns" {
  description = "Roles that projects are given in the settings (`role`); each must trust the output `role_arn`."
  type        = list(string)
  default     = []
}
