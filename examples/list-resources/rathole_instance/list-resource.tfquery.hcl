# terraform query -generate-config-out=generated.tf
list "rathole_instance" "europe" {
  provider = rathole

  config {
    prefix = "eu-"
  }
}
