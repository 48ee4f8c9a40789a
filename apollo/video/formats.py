"""What FFmpeg may open for us: names of its demuxers and of its decoders.

A file is a stranger's, and FFmpeg reads hundreds of formats nobody uses. These lists go into its
own options, so that nothing else is even tried. Left out on purpose: playlists (hls, dash, concat,
sdp), which would let an upload read other files; still pictures; games and old consoles.
"""

DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,live_flv,ogg,asf,"
    "asf_o,gif,apng,ivf,mxf,nut,wtv,rm,dv,h261,h263,h264,hevc,vvc,av1,obu,vc1,mjpeg,"
    "mp3,aac,flac,wav,aiff,amr,ac3,eac3,w64,caf,ape,wv,tta,adts"  # to say "only sound"
)

_VIDEO = (
    # what cameras, phones, sites and discs use
    "h264,hevc,vvc,libdav1d,libaom-av1,av1,vp8,vp9,libvpx,libvpx-vp9,mpeg1video,mpeg2video,"
    "mpegvideo,mpeg4,msmpeg4,msmpeg4v1,msmpeg4v2,wmv1,wmv2,wmv3,vc1,h261,h263,h263i,h263p,flv,"
    "theora,vp3,vp4,vp5,vp6,vp6a,vp6f,vp7,rv10,rv20,rv30,rv40,rv60,svq1,svq3,cinepak,indeo2,"
    "indeo3,indeo4,indeo5,cavs,snow,mjpeg,mjpegb,ljpeg,dvvideo,gif,png,apng,webp,"
    # cutting rooms and archives
    "prores,prores_aw,prores_raw,dnxhd,cfhd,apv,ffv1,huffyuv,ffvhuff,hymt,utvideo,lagarith,"
    "magicyuv,jpeg2000,jpegls,dirac,vc2,hap,hqx,hq_hqa,aic,cllc,dxv,notchlc,pixlet,sheervideo,"
    "speedhq,vble,ylc,asv1,asv2,cljr,loco,mszh,zlib,rawvideo,v210,v210x,v308,v408,v410,r210,r10k,"
    "y41p,yuv4,012v,bitpacked,avui,avrp,qtrle,rpza,smc,8bps,msrle,msvideo1,bmp,"
    # screen recorders
    "zmbv,flashsv,flashsv2,mss1,mss2,mts2,camtasia,camstudio,tscc2,fraps,g2m,screenpresso,rscc,"
    "fic,tdsc,dxtory,vmnc,mwsc,wcmv,rasc,scpr"
)
VIDEO_DECODERS = frozenset(_VIDEO.split(","))

# Never decoded, but FFmpeg opens them to learn what they are, and looks longer where it may not.
_AUDIO = (
    "aac,aac_fixed,aac_latm,ac3,ac3_fixed,eac3,dca,truehd,mlp,mp1,mp1float,mp2,mp2float,mp3,"
    "mp3float,opus,libopus,vorbis,flac,alac,ape,tta,wavpack,wmav1,wmav2,wmapro,wmavoice,"
    "wmalossless,amrnb,amrwb,libopencore_amrnb,libopencore_amrwb,cook,sipr,real_144,gsm,gsm_ms,"
    "nellymoser,speex,qdm2,qdmc,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,"
    "pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,"
    "pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,s302m"
)

DECODERS = f"{_VIDEO},{_AUDIO}"
