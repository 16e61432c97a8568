# terraform apply -invoke=action.rathole_instance_probe.satisfactory
action "rathole_instance_probe" "satisfactory" {
  config {
    server_id = "srv_user123_abcd1234"
  }
}
