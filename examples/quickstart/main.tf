# One game server, one isolated tunnel. RATHOLE_TOKEN holds the API token of manager and agent.

terraform {
  required_providers {
    rathole = {
      source = "satishost/rathole"
    }
  }
}

variable "manager_url" {
  type        = string
  default     = "http://127.0.0.1:7001"
  description = "Where rathole-manager answers, on the machine that players reach."
}

variable "agent_url" {
  type        = string
  default     = "http://127.0.0.1:8081"
  description = "Where rathole-agent answers, on the machine that runs the game."
}

variable "host_ip" {
  type        = string
  default     = "127.0.0.1"
  description = "Address of the game as the agent's machine sees it."
}

variable "game_port" {
  type    = number
  default = 30000
}

provider "rathole" {
  manager_url = var.manager_url
}

resource "rathole_instance" "game" {
  server_id   = "srv_quickstart"
  game_port   = var.game_port
  beacon_port = var.game_port + 1
  host_ip     = var.host_ip
  agent_url   = var.agent_url
}

output "endpoints" {
  value       = rathole_instance.game.endpoints
  description = "What players dial, by service."
}

output "control_port" {
  value = rathole_instance.game.rathole_port
}

output "status" {
  value = rathole_instance.game.status
}
