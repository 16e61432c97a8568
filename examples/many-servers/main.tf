# Many game servers on one host. Each has a tunnel of its own: adding one to the map, changing it or taking it out never
# touches the others.

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

variable "servers" {
  type = map(object({
    port      = number
    protocols = optional(set(string), ["udp"])
  }))
  default = {
    "valheim-friends" = { port = 2456 }
    "valheim-family"  = { port = 2460 }
    "minecraft"       = { port = 25565, protocols = ["tcp"] }
    "factorio"        = { port = 34197 }
  }
}

provider "rathole" {
  manager_url = var.manager_url
}

resource "rathole_instance" "server" {
  for_each = var.servers

  server_id = each.key
  host_ip   = var.host_ip
  agent_url = var.agent_url

  services = {
    game = {
      protocols  = each.value.protocols
      local_port = each.value.port
      # public_port left out: the manager chooses a free one. Set it where the game tells its players a port.
    }
  }
}

output "addresses" {
  value = { for name, server in rathole_instance.server : name => server.endpoints["game"] }
}
