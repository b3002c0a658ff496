// The node's WireGuard key: <data>/wireguard.key, as `wg genkey` writes one. Blocks on files.
#pragma once

#include "cluster/address_book.hpp"
#include "cluster/records.hpp"
#include "core/error.hpp"

#include <string>

namespace rooster::cluster {

/// The private key in `file` (0600), which is made where there is none, its folder (0700) too.
/// Errors: Internal, with the file and the mend: no key in it, or others can read it.
Result<Key> open_or_create_key(const std::string& file, const Random& random);

}  // namespace rooster::cluster
