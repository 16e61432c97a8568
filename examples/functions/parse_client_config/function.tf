variable "agent_url" {
  type = string
}

locals {
  # What one rathole client forwards for many servers today.
  shared = provider::rathole::parse_client_config(file("${path.module}/client.toml"))
}

# The same services, each as an instance of its own.
resource "rathole_instance" "moved" {
  for_each  = local.shared.services
  server_id = each.key
  agent_url = var.agent_url

  services = {
    game = {
      protocols  = [each.value.protocol]
      local_host = each.value.local_host
      local_port = each.value.local_port
    }
  }
}
