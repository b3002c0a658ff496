// The tables of rooster.toml that are about the private network.
#pragma once

#include "config/node_config.hpp"
#include "config/table_reader.hpp"

namespace rooster::config {

/// [wireguard], [dns] and [rooster]. Strict: whatever is wrong or unknown in them is an error.
void read_private_network(TableReader& top, NodeConfig& node);

}  // namespace rooster::config
