/* sources.h - the text of kernels/, in the program (embed.py). */
#ifndef HD_WORKER_OPENCL_SOURCES_H
#define HD_WORKER_OPENCL_SOURCES_H

extern const char hd_cl_text_common[], hd_cl_text_products[], hd_cl_text_mma[], hd_cl_text_xxh3[],
    hd_cl_text_attention[], hd_cl_text_rows[], hd_cl_text_logits[];

#endif
