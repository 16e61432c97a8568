# terraform apply -invoke=action.rathole_instance_restart.satisfactory
action "rathole_instance_restart" "satisfactory" {
  config {
    server_id = "srv_user123_abcd1234"
  }
}
