data "rathole_instance" "satisfactory" {
  server_id = "srv_user123_abcd1234"
}

output "is_it_up" {
  value = data.rathole_instance.satisfactory.status
}
