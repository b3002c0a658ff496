// Built instead of lwip_stack.cpp where lwIP's sources are not there.
#include "tunnel/lwip_stack.hpp"

namespace rooster::tunnel {

bool is_lwip_built_in() {
  return false;
}

Result<std::unique_ptr<Stack>> make_lwip_stack(Loop&, const LwipOptions&) {
  return fail(Fault::Internal, "lwIP is not built in: run scripts/setup and build again");
}

}  // namespace rooster::tunnel
