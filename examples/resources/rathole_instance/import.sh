# By server_id. The agent's address comes from the manager's record.
terraform import rathole_instance.satisfactory srv_user123_abcd1234
