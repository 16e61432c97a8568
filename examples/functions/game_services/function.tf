variable "agent_url" {
  type = string
}

variable "host_ip" {
  type    = string
  default = "127.0.0.1"
}

resource "rathole_instance" "valheim" {
  server_id = "valheim-1"
  agent_url = var.agent_url
  host_ip   = var.host_ip

  # Two UDP ports. The manager chooses the public ones; here they are to be the game's own.
  services = {
    for name, service in provider::rathole::game_services("valheim") :
    name => merge(service, { public_port = service.local_port })
  }
}

output "players_join" {
  value = rathole_instance.valheim.endpoints["game"]
}
