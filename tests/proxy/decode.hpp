// What a client does with a coded body; for as much of it as there is.
#pragma once

#include "proxy/choose_coding.hpp"

#include <string>
#include <string_view>

namespace rooster::proxy::testing {

struct Decoded {
  std::string text;
  bool whole = false;  ///< the coding's own end came
};

Decoded decode(Coding coding, std::string_view bytes);

}  // namespace rooster::proxy::testing
