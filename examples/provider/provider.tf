terraform {
  required_providers {
    rathole = {
      source = "satishost/rathole"
    }
  }
}

provider "rathole" {
  manager_url = "https://vps.example.org:7001" # or RATHOLE_MANAGER_URL
  token       = var.rathole_token              # or RATHOLE_TOKEN

  # The agents' token, if it is not the manager's; agent_tokens has one for each agent's URL.
  agent_token = var.rathole_agent_token # or RATHOLE_AGENT_TOKEN
}

variable "rathole_token" {
  type      = string
  ephemeral = true
  sensitive = true
}

variable "rathole_agent_token" {
  type      = string
  ephemeral = true
  sensitive = true
}
