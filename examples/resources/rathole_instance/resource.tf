resource "rathole_instance" "satisfactory" {
  server_id   = "srv_user123_abcd1234"
  game_port   = 30000
  beacon_port = 30001
  host_ip     = "127.0.0.1"
  agent_url   = "http://10.0.0.5:8081"
}

# Any ports and protocols, by name.
resource "rathole_instance" "minecraft" {
  server_id = "minecraft-1"
  agent_url = "http://10.0.0.5:8081"

  services = {
    game  = { protocols = ["tcp"], local_port = 25565, public_port = 25565, probe = "minecraft" }
    voice = { protocols = ["udp"], local_port = 24454, public_port = 24454 }
    map   = { protocols = ["tcp"], local_port = 8123 } # public_port left out: the manager chooses one
  }
}
