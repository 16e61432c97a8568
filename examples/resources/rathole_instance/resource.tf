resource "rathole_instance" "satisfactory" {
  server_id   = "srv_user123_abcd1234"
  game_port   = 30000
  beacon_port = 30001
  host_ip     = "127.0.0.1"
  agent_url   = "http://10.0.0.5:8081"
}

# Any ports and protocols, by name.
resource "rathole_instance" "ark" {
  server_id = "ark-island"
  agent_url = "http://10.0.0.5:8081"

  services = {
    game  = { protocols = ["udp"], local_port = 7777, public_port = 7777 }
    query = { protocols = ["udp"], local_port = 27015, public_port = 27015, probe = "a2s" }
    rcon  = { protocols = ["tcp"], local_port = 27020 } # public_port left out: the manager chooses one
  }
}
