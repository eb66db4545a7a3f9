// Names of the standard library that the kernels use. NVRTC has no headers: it is given the names themselves.
#pragma once

#ifdef __CUDACC_RTC__

namespace std {
using uint8_t = unsigned char;
using uint16_t = unsigned short;
using int32_t = int;
using uint32_t = unsigned int;
using int64_t = long long;
using uint64_t = unsigned long long;
}  // namespace std

#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif

#else

#include <cmath>
#include <cstdint>
#include <cstring>

#endif
