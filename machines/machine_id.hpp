// Machine ids: stable names made from what a machine is, so that they survive restarts without
// being stored.
#pragma once

#include "core/ids.hpp"

#include <cstdint>
#include <string_view>

namespace rooster::machines {

/// 14 hexadecimal digits from (app, process group, region, which one). `which` is the index of a
/// process machine or the IP address of an address machine.
MachineId make_machine_id(std::string_view app, std::string_view group, std::string_view region,
                          std::string_view which);

}  // namespace rooster::machines
