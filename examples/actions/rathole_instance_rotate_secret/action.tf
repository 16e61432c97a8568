# terraform apply -invoke=action.rathole_instance_rotate_secret.satisfactory
action "rathole_instance_rotate_secret" "satisfactory" {
  config {
    server_id = "srv_user123_abcd1234"
  }
}
