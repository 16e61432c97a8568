# Takes an instance that exists, made by hand or by other software, under Terraform's care. Nothing of it changes.

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
  type    = string
  default = "127.0.0.1"
}

provider "rathole" {
  manager_url = var.manager_url
}

import {
  to = rathole_instance.existing
  id = "srv_made_by_hand"
}

resource "rathole_instance" "existing" {
  server_id = "srv_made_by_hand"
  game_port = 27015
  host_ip   = var.host_ip
  agent_url = var.agent_url
}
