# An instance whose client no agent runs …
resource "rathole_instance" "container" {
  server_id = "factorio-1"
  game_port = 34197
}

# … but something else, which needs the config with its secrets. Neither state nor plan ever holds it.
ephemeral "rathole_client_config" "container" {
  server_id = rathole_instance.container.server_id
  revision  = rathole_instance.container.revision
  host_ip   = "10.0.0.7"
}
