// A token as its bearer shows it: "<id>-<secret>", 10 letters or digits and 43 of base 64. What is
// kept of the secret is its SHA-256.
#pragma once

#include "cluster/address_book.hpp"
#include "cluster/records.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace rooster::cluster {

struct TokenText {
  std::string text;
  std::string id;
  Key secret_hash{};
};

TokenText make_token_text(const Random& random);
/// nullopt: does not look like one.
std::optional<TokenText> parse_token_text(std::string_view text);
/// In a time that says nothing about where they differ.
bool is_same_secret(const Key& a, const Key& b);
/// `bytes` random letters and digits.
std::string random_word(const Random& random, std::size_t bytes);

}  // namespace rooster::cluster
