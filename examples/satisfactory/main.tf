# A Satisfactory dedicated server in a container of the host. The server tells its players the port of its reliable
# messaging, so the public port must be the local one: that is what game_port and beacon_port give.

terraform {
  required_providers {
    rathole = {
      source = "satishost/rathole"
    }
  }
}

variable "manager_url" {
  type = string
}

variable "agent_url" {
  type = string
}

variable "host_ip" {
  type        = string
  default     = "127.0.0.1"
  description = "The container's published address. Another one must be among the agent's RATHOLE_ALLOWED_TARGETS."
}

provider "rathole" {
  manager_url = var.manager_url
}

resource "rathole_instance" "satisfactory" {
  server_id   = "srv_user123_abcd1234"
  game_port   = 7777 # game: UDP, and TCP for the server's API
  probe       = "satisfactory"
  beacon_port = 8888 # reliable messaging: TCP
  host_ip     = var.host_ip
  agent_url   = var.agent_url

  labels = {
    game  = "satisfactory"
    owner = "user123"
  }
}

output "join" {
  value       = rathole_instance.satisfactory.endpoints["game"]
  description = "What players type under Server Manager, Add Server."
}
